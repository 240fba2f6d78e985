"""What a person sees: messages, a progress bar, tables; native start-up notices are suppressed."""
