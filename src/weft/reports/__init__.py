"""What people look at: tables, plots, pages, and papers' claims beside our numbers."""
