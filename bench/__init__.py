"""What the tool costs in time and in calls. Figures, not tests: nothing fails because a machine is slow."""
