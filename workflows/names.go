// Package workflows is the story of each long work of Millrace, deterministic and free of side effects: what happens
// is in the activities.
package workflows

// Names of the workflows, stable for ever: people type them, and schedules hold them.
const (
	NameExport   = "Export"
	NameCheck    = "Check"
	NameVerify   = "Verify"
	NameEstimate = "Estimate"
)

// Task queues. Live and bulk work have slots of their own, so that a backfill never takes those of live runs.
const (
	QueueControl = "millrace"      // workflows, and the small steps of runs
	QueueLive    = "millrace-live" // chunks of runs that are due now
	QueueBulk    = "millrace-bulk" // chunks of runs of the past
)

// Names of the queries of Export.
const (
	QueryProgress = "progress" // export.Progress
	QueryPlan     = "plan"     // export.Plan, or null before there is one
)

// Priorities of activities, 1 first. They order tasks within a queue on servers that know priorities.
const (
	priorityManual       = 1
	priorityLive         = 2
	priorityVerification = 3
	priorityBackfill     = 4
)
