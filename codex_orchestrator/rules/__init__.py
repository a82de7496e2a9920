"""Pure decisions: from events to the manifest, from outcomes to verdicts, from facts to what may go."""
