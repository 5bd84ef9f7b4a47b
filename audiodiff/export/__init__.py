"""Writing models for others: publishing under a name."""
