/** What the page asks the service over HTTP: its models, and whether it takes the key. */

/**
 * { status: "fine", models: [id] }, "key-needed", "key-refused", "unreachable" or "unknown".
 * `base` is the service's address.
 */
export async function askForModels(base, token) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  try {
    const answer = await fetch(new URL("v1/models", base), { headers, cache: "no-store" });
    if (answer.status === 401) return { status: token ? "key-refused" : "key-needed", models: [] };
    if (!answer.ok) return { status: "unknown", models: [] };
    return { status: "fine", models: (await answer.json()).data.map(({ id }) => id) };
  } catch {
    // fetch() tells neither a server that is away nor a key that can't be a header from anything else
    return { status: /^[\x21-\x7e]*$/.test(token) ? "unreachable" : "key-refused", models: [] };
  }
}
