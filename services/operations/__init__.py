"""What a person does, one module each; called by the command line and the API."""
