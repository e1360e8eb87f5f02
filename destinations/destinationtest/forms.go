package destinationtest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
)

// Form is one way in which a place holds rows of any columns: one of the formats of its files, or its tables. Where the tests
// have forms, they have a ClickHouse too, which makes the rows.
type Form struct {
	// Name is the form's in the page of guarantees: "parquet", "table".
	Name string
	// Settings are the export's block. Those of two forms of one place must not meet, as by a prefix of each one's own.
	Settings json.RawMessage
	// Open makes the destination anew for rows of a shape.
	Open func(t testing.TB, shape destinations.Shape) destinations.Destination
	// Unsure opens it so that nobody learns there what comes of the next publication: it takes effect when it arrives, or has
	// none, and from that request on the place does not answer any more.
	Unsure func(t testing.TB, shape destinations.Shape, arrives bool) destinations.Destination
	// Fit makes the place's own table fit for the columns, as its owner would: missing ones are added, others get the type
	// that fits. Nil where nothing but Millrace says which columns there are.
	Fit func(t testing.TB, columns []export.Column)
	// Read has a program that is not of Millrace tell the rows of a published run, in any order: the text of each value, and
	// nil for NULL. Instants are in UTC.
	Read func(t testing.TB, manifest export.Manifest, columns []export.Column) [][]*string
}

// inEachForm holds a promise in each form of the place.
func inEachForm(hold func(t *testing.T, s Subject, f Form)) func(*testing.T, Subject) {
	return func(t *testing.T, s Subject) {
		for _, form := range s.Forms {
			t.Run(form.Name, func(t *testing.T) { hold(t, s, form) })
		}
	}
}

// table is rows as a person would write them down. Its first two columns are id and changed.
type table struct {
	columns []export.Column
	rows    [][]*string
}

// null is a NULL among texts.
const null = "\x00"

// tableOf has these columns, each as "name Type", after id and changed. The rows' texts are what ClickHouse reads a value from,
// and what whoever reads the place must say.
func tableOf(columns []string, rows ...[]string) table {
	made := table{columns: []export.Column{{Name: "id", Type: "Int64"}, {Name: "changed", Type: "DateTime64(6, 'UTC')"}}}
	for _, column := range columns {
		name, kind, _ := strings.Cut(column, " ")
		made.columns = append(made.columns, export.Column{Name: name, Type: kind})
	}
	for i, texts := range rows {
		at := theRun.Start.Add(time.Duration(i)*time.Minute + time.Microsecond)
		row := pointers(fmt.Sprint(i+1), at.Format("2006-01-02 15:04:05.000000"))
		made.rows = append(made.rows, append(row, pointers(texts...)...))
	}
	return made
}

func pointers(texts ...string) []*string {
	var row []*string
	for _, text := range texts {
		if text == null {
			row = append(row, nil)
			continue
		}
		row = append(row, &text)
	}
	return row
}

// later is the table with its rows in the interval after theRun.
func (made table) later() table {
	rows := made.rows
	made.rows = nil
	for _, row := range rows {
		row = slices.Clone(row)
		row[0], row[1] = new("1"+*row[0]), new(strings.Replace(*row[1], " 10:", " 11:", 1))
		made.rows = append(made.rows, row)
	}
	return made
}

// query makes the rows in ClickHouse.
func (made table) query() string {
	quote := strings.NewReplacer(`\`, `\\`, `'`, `\'`)
	var rows []string
	for _, row := range made.rows {
		var values []string
		for i, text := range row {
			value := "NULL"
			if text != nil {
				value = "'" + quote.Replace(*text) + "'"
			}
			values = append(values, fmt.Sprintf("CAST(%s AS %s) AS %s", value, made.columns[i].Type, made.columns[i].Name))
		}
		rows = append(rows, "SELECT "+strings.Join(values, ", "))
	}
	return "SELECT * FROM (" + strings.Join(rows, " UNION ALL ") + ") ORDER BY id"
}

func (made table) shape() destinations.Shape {
	return destinations.Shape{Model: "rows", Columns: made.columns, Key: []string{"id"}, Version: "changed", Arrival: "changed"}
}

// planIn draws up a plan of a form with one chunk, in theRun's interval or, for later rows, the next one.
func (s Subject) planIn(f Form, made table, later bool) export.Plan {
	s.Settings = f.Settings
	plan := s.plan("first", uint64(len(made.rows)))
	if later {
		plan.Run.Start, plan.Run.End = plan.Run.End, plan.Run.End.Add(plan.Run.Length())
	}
	return plan
}

// carry does a run up to its proof.
func (s Subject) carry(t *testing.T, f Form, plan export.Plan, made table) export.Manifest {
	t.Helper()
	d := f.Open(t, made.shape())
	if _, err := d.Prepare(t.Context(), plan); err != nil {
		t.Fatalf("prepare: %v", err)
	}
	receipt, err := d.WriteChunk(t.Context(), task(plan, 0, s.ClickHouse.Rows(made.query())))
	if err != nil {
		t.Fatalf("write: %v", err)
	}
	receipts := []export.Receipt{receipt}
	if plan.Definition.InOrder(plan.Run) {
		shown, err := d.(destinations.ShowsInOrder).Show(t.Context(), plan, receipts)
		if err != nil || len(shown.Receipts) != 1 {
			t.Fatalf("show: %+v, %v", shown, err)
		}
		receipts = shown.Receipts
	}
	proof, err := d.Prove(t.Context(), plan, receipts)
	if err != nil {
		t.Fatalf("prove: %v", err)
	}
	return export.NewManifest(plan, receipts, proof, plan.By)
}

// publishIn does a whole run.
func (s Subject) publishIn(t *testing.T, f Form, plan export.Plan, made table) export.Manifest {
	t.Helper()
	manifest, err := f.Open(t, made.shape()).Publish(t.Context(), s.carry(t, f, plan, made))
	if err != nil {
		t.Fatalf("publish: %v", err)
	}
	return manifest
}

// reads holds what somebody else's program says of a published run against the rows that were written down.
func (f Form) reads(t *testing.T, manifest export.Manifest, made table) {
	t.Helper()
	got := f.Read(t, manifest, made.columns)
	slices.SortFunc(got, func(a, b []*string) int {
		return cmp.Or(cmp.Compare(len(*a[0]), len(*b[0])), cmp.Compare(*a[0], *b[0]))
	})
	if len(got) != len(made.rows) {
		t.Errorf("there are %d rows, %d were written:\n%s", len(got), len(made.rows), asJSON(t, got))
		return
	}
	for i, row := range made.rows {
		same(t, fmt.Sprintf("row %d of %s", i, export.Structure(made.columns)), got[i], row)
	}
}

// lesson keeps what became of something, and in which forms: it differs between destinations, and the page of guarantees says
// it. It may be used by several goroutines.
type lesson struct {
	mutex sync.Mutex
	forms map[string]map[string][]string
}

// learn notes that something went in a certain way in a form.
func (s Subject) learn(what, how string, f Form) {
	s.lesson.mutex.Lock()
	defer s.lesson.mutex.Unlock()
	if s.lesson.forms[what] == nil {
		s.lesson.forms[what] = map[string][]string{}
	}
	s.lesson.forms[what][how] = append(s.lesson.forms[what][how], f.Name)
}

// tells says how something went, form by form where they differ.
func (l *lesson) tells(what string) string {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	var ways []string
	for how, forms := range l.forms[what] {
		slices.Sort(forms)
		if len(l.forms[what]) > 1 {
			how = strings.Join(slices.Compact(forms), ", ") + ": " + how
		}
		ways = append(ways, how)
	}
	slices.Sort(ways)
	return strings.Join(ways, "; ")
}
