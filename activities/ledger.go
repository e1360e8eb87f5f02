package activities

import (
	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/export"
)

// publishedRow is the ledger row of a published run. The manifest carries all that it needs.
func publishedRow(manifest export.Manifest) eventstore.LedgerRow {
	row := eventstore.LedgerRow{
		Run: manifest.Run, Status: eventstore.StatusPublished,
		Team: manifest.Team, Model: manifest.Model, Connection: manifest.Connection, Destination: manifest.Destination,
		DefinitionHash: manifest.DefinitionHash, PlanHash: manifest.PlanHash, Closing: manifest.Closing,
		Rows: manifest.Rows, Bytes: manifest.Bytes, Files: uint64(len(manifest.Receipts)),
		Proof: manifest.Proof.Level, Source: manifest.Proof.Source, Stored: manifest.Proof.Stored, Manifest: manifest.Location,
		WorkflowID: manifest.By.WorkflowID, RunID: manifest.By.RunID,
		StartedAt: manifest.PlannedBy.At, PublishedAt: manifest.By.At,
		Durations: manifest.Durations,
	}
	if manifest.Replaces != nil {
		row.Reason = manifest.Replaces.Reason
	}
	for _, receipt := range manifest.Receipts {
		row.Attempts += uint32(receipt.Attempt)
	}
	return row
}

// failedRow is the ledger row of a run that ended without being published.
func failedRow(task FailedTask, by export.Author) eventstore.LedgerRow {
	status := eventstore.StatusFailed
	if task.Kind == export.KindCancelled {
		status = eventstore.StatusCancelled
	}
	return eventstore.LedgerRow{
		Run: task.Run, Status: status,
		Team: task.Definition.Team, Model: task.Definition.Model.Name,
		Connection: task.Definition.Connection, Destination: task.Definition.Destination,
		DefinitionHash: task.Definition.Hash(),
		WorkflowID:     by.WorkflowID, RunID: by.RunID, StartedAt: task.Started,
		ErrorKind: task.Kind, Error: task.Message, Durations: task.Durations,
	}
}

// closedRow is the ledger row of a revision that will not be published.
func closedRow(task CloseTask, mark export.Closed) eventstore.LedgerRow {
	return eventstore.LedgerRow{
		Run: task.Run, Status: eventstore.StatusClosed,
		Team: task.Definition.Team, Model: task.Definition.Model.Name,
		Connection: task.Definition.Connection, Destination: task.Definition.Destination,
		DefinitionHash: mark.DefinitionHash,
		WorkflowID:     mark.By.WorkflowID, RunID: mark.By.RunID, StartedAt: mark.By.At,
		ErrorKind: task.Kind, Error: task.Reason, Durations: task.Durations,
	}
}
