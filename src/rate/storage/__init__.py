"""What lies on a disk: files and folders that are complete or absent, and files of strangers."""
