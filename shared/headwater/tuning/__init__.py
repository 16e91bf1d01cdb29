"""Fine-tuning (torch): tasks, methods, reports and export."""
