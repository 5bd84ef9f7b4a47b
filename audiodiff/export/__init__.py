"""Export of models: publishing under a name, with a model card."""
