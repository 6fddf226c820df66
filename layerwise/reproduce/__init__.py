"""Published experiments, one a file: its settings, its run, published and obtained figures side by side."""
