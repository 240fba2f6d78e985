"""Output for a person: messages, a progress bar, tables; native start-up messages are suppressed."""
