"""What several model families use: features, batching, precision, FunASR models, the frame of a runner."""
