"""The chat: messages to everyone or to one user, whatever number of tabs they have open."""
