package activities

import (
	"context"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// Findings counts what reconciliations find, for whoever watches the workers. It is safe for concurrent use.
type Findings struct{ found *prometheus.CounterVec }

// NewFindings makes the counter and registers it; a nil registerer has none.
func NewFindings(registerer prometheus.Registerer) (*Findings, error) {
	findings := &Findings{prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "millrace_reconcile_findings_total",
		Help: "What reconciliations found and did not heal: intervals missing or failed, runs with drift, altered, removed, and leftovers.",
	}, []string{"export", "finding"})}
	if registerer == nil {
		return findings, nil
	}
	if err := registerer.Register(findings.found); err != nil {
		return nil, fmt.Errorf("register the metric of reconciliations: %w", err)
	}
	return findings, nil
}

// NoteTask is what a reconciliation has found and not healed; see export.ReconcileReport.NotHealed.
type NoteTask struct {
	Export string         `json:"export"`
	Found  map[string]int `json:"found"`
}

// NoteReconciled counts what a reconciliation has found, once it has done what it can. It is tried again when its worker dies,
// and may then count twice: it is for alerts, and the workflow's result has the truth.
func (s *Steps) NoteReconciled(_ context.Context, task NoteTask) error {
	if s.Findings == nil {
		return nil
	}
	for finding, count := range task.Found {
		s.Findings.found.WithLabelValues(task.Export, finding).Add(float64(count))
	}
	return nil
}
