"""What webhooks are signed with."""
