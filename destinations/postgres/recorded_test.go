package postgres

import (
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/millrace/millrace/internal/recorded"
)

// The answers are those of real servers; recorded_world_test.go holds them against one.
func TestRecordedAnswersGetTheirKind(t *testing.T) {
	for _, server := range recorded.Read(t, ".") {
		for _, answer := range server.Answers {
			found := judge(&pgconn.PgError{Code: answer.Code, Message: answer.Message})
			if found.Kind != answer.Kind {
				t.Errorf("%s, %s: %s (%s) is %s, want %s", server.Name, answer.Situation, answer.Code, answer.Message, found.Kind, answer.Kind)
			}
		}
	}
}
