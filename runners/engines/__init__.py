"""Model engines: plain classes, batch in and batch out, on torch; usable without BentoML."""
