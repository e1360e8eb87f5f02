// Package workflows is the story of each long work of Millrace, deterministic and free of side effects: what happens
// is in the activities.
package workflows

// Names of the workflows, stable for ever: people type them, and schedules hold them.
const (
	NameExport    = "Export"
	NameBackfill  = "Backfill"
	NameEstimate  = "Estimate"
	NameCheck     = "Check"
	NameVerify    = "Verify"
	NameReconcile = "Reconcile"
)

// Task queues. Live and bulk work have slots of their own, so that a backfill never takes those of live runs.
const (
	QueueControl = "millrace"      // workflows, and the small steps of runs
	QueueLive    = "millrace-live" // chunks of runs that are due now
	QueueBulk    = "millrace-bulk" // chunks of runs of the past
)

// Names of the queries of Export, Backfill and Reconcile.
const (
	QueryProgress = "progress" // export.Progress, export.BackfillProgress, or the export.ReconcileReport as far as it is
	QueryPlan     = "plan"     // export.Plan, or null before there is one; of Export only
)

// Names of the updates of Backfill. Each takes one Wish and answers with the export.BackfillProgress after it.
const (
	UpdatePause          = "pause"           // starts nothing more; what runs goes on
	UpdateResume         = "resume"          // goes on
	UpdateSetParallelism = "set_parallelism" // changes how many runs are under way at once
	UpdateCancel         = "cancel"          // starts nothing more, and cancels what runs
)

// Priorities of activities, 1 first. They order tasks within a queue on servers that know priorities.
const (
	priorityManual       = 1
	priorityLive         = 2
	priorityVerification = 3
	priorityBackfill     = 4
)
