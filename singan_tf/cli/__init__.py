"""The command line: the only place that knows flags, signals and exit statuses."""
