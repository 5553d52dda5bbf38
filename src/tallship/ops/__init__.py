"""What can be made true, and one-shot actions: a module for each capability."""
