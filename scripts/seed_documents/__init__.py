"""What five published texts say, figure by figure, beside what `probe` measures on simulated servers."""
