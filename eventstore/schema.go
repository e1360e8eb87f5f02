package eventstore

import (
	"context"
	"time"
)

// Applied is a step of the schema that is in the database.
type Applied struct {
	// Version counts from 1; Name is the step's file without number and ending.
	Version int
	Name    string
	// At is when it was applied, by ClickHouse's clock; New tells that this call did it.
	At  time.Time
	New bool
}

// Setup creates the database and brings its tables to the schema of this program. It may be started twice, by two
// processes at once, and again after a kill: steps that are applied are left alone. It returns all steps in order.
func (s *Store) Setup(ctx context.Context) ([]Applied, error) { return nil, errNotBuilt }

// CheckSchema tells whether the tables are those this program needs; its error says which version is there, which
// is needed, and what to do.
func (s *Store) CheckSchema(ctx context.Context) error { return errNotBuilt }
