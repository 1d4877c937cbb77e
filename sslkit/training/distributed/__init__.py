"""Launch, connect and stop the processes of distributed training."""
