"""The flags that the commands share, and the job they describe."""
