-- Before a clean stop: afterwards little is left to write.
checkpoint
