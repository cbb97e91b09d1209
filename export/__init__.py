"""The trained pyramid outside the program: SavedModel, serving, clients, pipelines."""
