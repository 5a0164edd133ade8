"""What papers and libraries print of the networks' size, one file per family, without torch."""
