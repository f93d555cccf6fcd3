"""What is written and shown: files, hashes, progress, figures, logs."""
