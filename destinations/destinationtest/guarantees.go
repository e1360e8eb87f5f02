package destinationtest

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
)

var update = flag.Bool("guarantees", false, "write what the suite finds into the page of guarantees anew")

// Guarantees is what a run of the suite has found out about a destination.
type Guarantees struct {
	subject     Subject
	destination destinations.Destination
	columns     []export.Column
	mutex       sync.Mutex
	// held has the promises that were kept, and all how many there are.
	held map[string]bool
	all  int
}

func (g *Guarantees) note(promise string, held bool) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	if held {
		g.held[promise] = true
	}
}

// row is a line of the table: what is guaranteed, how, and which promises of the suite hold it.
type row struct {
	what, how string
	promises  []string
}

// rows tells what is guaranteed, from what the destination can (its interfaces, which are asserted) and what it did.
func (g *Guarantees) rows(ctx context.Context) ([]row, error) {
	s := g.subject
	_, files := g.destination.(destinations.ReadsBack)
	database, tables := g.destination.(destinations.HoldsRows)
	commit, twice := "by the manifest, written last; files without one are no reader's", "one copy: what is there is adopted, and read to make its receipt"
	if s.Staged {
		commit, twice = "by the transaction that moves the rows; before it nothing shows", "each write is staged apart; publishing takes the one that the receipt names, and drops the others"
	}
	if s.Order != "" {
		twice = "each write is an upload of its own; the first that is completed stands, and who has another reads it to make its receipt"
	}
	level, read, not := "`stream` only", "no", "every value: what is stored is not read"
	switch {
	case files:
		level, read = "`stream`, `readback`", "each file, whole, before publishing; `millrace verify` any time later"
		not = "the order of rows in a file"
		if s.Order != "" {
			read = "each file, whole, after it shows and before the manifest; `millrace verify` any time later"
		}
	case tables:
		level, read = "`stream`, `readback`", "each row, by the database, before publishing, and publishing moves just the rows that were read"
		compared, err := database.Compared(ctx)
		if err != nil {
			return nil, err
		}
		var left []string
		for _, column := range g.columns {
			if !slices.ContainsFunc(compared, func(c export.Column) bool { return c.Name == column.Name }) {
				left = append(left, "`"+column.Name+"`")
			}
		}
		not = "the order of rows"
		if len(left) > 0 {
			not += "; columns " + strings.Join(left, ", ")
		}
	}
	untried := func(opener Opener, how string) string {
		if opener == nil {
			return "cannot be brought about in the tests"
		}
		return how
	}
	table := append([]row{
		{"readers see an interval wholly or not at all", commit, []string{"a run is not published before its manifest", "neighbouring intervals are published apart", "a zombie's chunk after a close harms nobody"}},
		{"an empty interval", "has its commit mark, too", []string{"an empty interval has a manifest too", "an empty interval is proved"}},
		{"who plans first", "wins for all who come later", []string{"the first plan wins", "of many plans at once one holds for all"}},
		{"a run over several intervals of the grid", "takes each of them first, in the place of its plan; of one that somebody has it writes no row", g.kept(claims)},
		{"who publishes first", "wins for all, also at the same moment", []string{"publishing twice keeps the first manifest", "of many who publish at once one wins for all"}},
		{"a chunk that is written twice, or beside its zombie", twice, []string{"writing twice leaves one copy", "writing a big chunk twice leaves one copy", "a zombie beside its successor leaves one copy", "a zombie beside its successor leaves one copy of a big chunk", "what belongs to another plan is never adopted"}},
		{"a run that is killed between any two steps, and begun anew", "ends as one", []string{"a run that is begun anew after any of its steps ends as one"}},
		{"a source that breaks off, or is cancelled", "leaves nothing", []string{"a source that breaks in the middle", "a source that breaks in the middle of a big chunk", "a source that ends early without saying so", "cancelling while the source is read"}},
		{"levels of proof", level, []string{"a proof holds what was planned, written and stored together", "a receipt that says something else than the store is refused"}},
		{"what is stored is read", read, g.kept(readback, inRows)},
		{"not compared", not, nil},
		{"revisions", "a closed one is never published, and the next stands for it", []string{"a closed revision is not published", "of publishing and closing at once one wins for all", "the revision after a closed one is published in its stead"}},
		s.revisionsRow(),
		{"clean-up", "takes what its own execution left unfinished, and nothing else", []string{"an abort ends the open work of its own execution", "an abort leaves the open work of another execution alone", "the clean-up of an old execution leaves what its successor took over alone"}},
		{"credentials that expire", untried(s.Expired, "end the step as `auth`; nothing changes"), tried(s.Expired != nil, expiredPromise)},
		{"a place that is read-only", untried(s.ReadOnly, "ends the step; nothing changes"), tried(s.ReadOnly != nil, readOnlyPromise)},
		{"a place that is full", untried(s.Full, "ends the step as `quota`, which is tried again; nothing changes"), tried(s.Full != nil, fullPromise)},
	}, g.inForms()...)
	if s.Order != "" {
		table = append(table, row{"readers who take files as they appear", "see them in the order of intervals and chunks; what comes too late, and later revisions, stand apart", g.kept(ordered)})
	}
	return table, nil
}

// revisionsRow tells what becomes of a published run that is done again.
func (s Subject) revisionsRow() row {
	const what = "a published run that is done again"
	if s.Irreplaceable {
		return row{what, "is refused as `config`, and nothing is written: its rows cannot be told from others", namesOf(irreplaceable)}
	}
	how := "readers see the former revision until the next has its manifest, and then that one; the former's files stay"
	if s.Staged {
		how = "readers see the rows of the former revision until the transaction that publishes the next, and then that one's"
	}
	if s.ByKey {
		how += ", by key; rows of keys that are gone from the source stay"
	}
	return row{what, how, namesOf(redoing)}
}

func namesOf(group []promise) []string {
	var names []string
	for _, promise := range group {
		names = append(names, promise.name)
	}
	return names
}

// inForms tells what was found with rows that ClickHouse made and somebody else read.
func (g *Guarantees) inForms() []row {
	if len(g.subject.Forms) == 0 {
		return []row{{"values, columns that change, publishing with a lost answer", "not tried: its tests have no ClickHouse", nil}}
	}
	var names []string
	fits := false
	for _, form := range g.subject.Forms {
		names = append(names, form.Name)
		fits = fits || form.Fit != nil
	}
	drifts := "its files have it; those of earlier intervals stay as they are"
	if fits {
		drifts = "is refused as `schema` and named, and nothing is written, until the table has it; rows of earlier intervals stay as they are"
	}
	found := []row{
		{"NULL, decimals, microseconds", "come back as they were to a reader who is not of Millrace (" + strings.Join(names, ", ") + ")", []string{"nulls are nulls, and what looks like them is none", "a decimal keeps each of its digits", "an instant keeps its microsecond"}},
		{"arrays", g.subject.lesson.tells("arrays"), []string{"an array is kept, or refused before anything is written"}},
		{"a column that is new in an interval, or of another type", drifts, []string{"a column that is new in an interval", "a column that has another type in an interval"}},
		{"publishing with a lost answer, or a lost request", "is there once or not at all, and a repeat ends it", []string{"a publication whose answer is lost is there once", "a publication that is lost itself is not there, and its repeat is once"}},
	}
	if fits {
		found = append(found, row{"a table that changes while a run is at work", "ends the run as `schema`; nothing changes", []string{underwayPromise}})
	}
	return found
}

func tried(can bool, promise string) []string {
	if !can {
		return nil
	}
	return []string{promise}
}

// kept are the names of those promises of some groups that were tried.
func (g *Guarantees) kept(groups ...[]promise) []string {
	var names []string
	for _, group := range groups {
		for _, promise := range group {
			if g.held[promise.name] {
				names = append(names, promise.name)
			}
		}
	}
	return names
}

// Hold prints the table of a destination, and holds the section of a page of that title against it: "docs/guarantees.md" of
// Millrace has one for each destination of its own. With -guarantees it writes the section. A run that has not tried all
// promises, or has seen one broken, says nothing.
func (g *Guarantees) Hold(t *testing.T, page, title string) {
	t.Helper()
	if t.Failed() || len(g.held) < g.all {
		t.Logf("%d of %d promises were kept: nothing is said of guarantees", len(g.held), g.all)
		return
	}
	found, err := g.rows(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	table := "\n| | | held by |\n|---|---|---|\n"
	for _, row := range found {
		by := "-"
		for _, promise := range row.promises {
			if !g.held[promise] {
				t.Errorf("%q: there is no promise %q that was kept", row.what, promise)
			}
		}
		switch len(row.promises) {
		case 0:
		case 1:
			by = "1 promise"
		default:
			by = fmt.Sprintf("%d promises", len(row.promises))
		}
		table += fmt.Sprintf("| %s | %s | %s |\n", row.what, row.how, by)
	}
	table += fmt.Sprintf("\n%d promises of the suite were kept.\n\n", g.all)
	t.Logf("%s\n%s", title, table)
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "## "+title+"\n", "<!-- "+title+" ends. -->\n"
	before, rest, begins := strings.Cut(string(text), begin)
	is, after, ends := strings.Cut(rest, end)
	if !begins || !ends {
		t.Fatalf("%s has no section between %q and %q: add the two lines", page, begin, end)
	}
	if *update {
		if err := os.WriteFile(page, []byte(before+begin+table+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if is != table {
		t.Errorf("%s does not say of %s what the suite finds; write it by the flag -guarantees:\n%s", page, title, table)
	}
}
