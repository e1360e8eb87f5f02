package crash

import (
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The failpoints of the source, those that the page lists, and those that the harness goes for are the same: a boundary
// that is missing here would never be killed at, and one that no source has would be waited for in vain.
func TestEveryBoundaryIsInThePageAndInTheHarness(t *testing.T) {
	source := readFailpoints(t)
	boundaries, switches := source.boundaries(), slices.Sorted(maps.Keys(source.switches))
	if len(boundaries) < 50 || len(switches) < 8 {
		t.Fatalf("the source has %d boundaries and %d switches: the search for them finds no longer all", len(boundaries), len(switches))
	}
	same(t, "boundaries", "the source", boundaries, "the harness", slices.Sorted(slices.Values(slices.Concat(Boundaries(), ExportBoundaries(), orderedBoundaries, redoBoundaries, leftoverBoundaries, pauseBoundaries, claimBoundaries))))

	content, err := os.ReadFile("../../docs/exactly-once.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(content)
	var listed []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z0-9]+(?:\\.[a-z]+)+)` \\|").FindAllStringSubmatch(page, -1) {
		listed = append(listed, row[1])
	}
	slices.Sort(listed)
	same(t, "boundaries", "the source", boundaries, "docs/exactly-once.md", listed)
	for _, name := range switches {
		if !strings.Contains(page, "`"+name+"`") {
			t.Errorf("docs/exactly-once.md does not name the switch %s", name)
		}
	}
	for _, name := range regexp.MustCompile("`(Test[A-Za-z0-9]+)`").FindAllStringSubmatch(page, -1) {
		if !source.tests[name[1]] {
			t.Errorf("docs/exactly-once.md names %s, which is no test", name[1])
		}
	}
}

func same(t *testing.T, what, one string, ones []string, other string, others []string) {
	t.Helper()
	for _, name := range ones {
		if !slices.Contains(others, name) {
			t.Errorf("%s: %s has %s, and %s does not", what, one, name, other)
		}
	}
	for _, name := range others {
		if !slices.Contains(ones, name) {
			t.Errorf("%s: %s has %s, and %s does not", what, other, name, one)
		}
	}
	if twice := len(others) - len(slices.Compact(slices.Clone(others))); twice > 0 {
		t.Errorf("%s: %s has %d twice", what, other, twice)
	}
}

// failpoints are what the product's source says about its failpoints, and all tests there are.
type failpoints struct {
	whole    map[string]bool // names in one piece
	ends     map[string]bool // ends, such as ".put", of names whose beginning is a parameter "point"
	begins   map[string]bool // what is given for that parameter
	switches map[string]bool
	tests    map[string]bool
}

func (f failpoints) boundaries() (all []string) {
	for begin := range f.begins {
		for end := range f.ends {
			all = append(all, begin+end)
		}
	}
	return slices.Sorted(slices.Values(slices.AppendSeq(all, maps.Keys(f.whole))))
}

func readFailpoints(t *testing.T) failpoints {
	t.Helper()
	found := failpoints{whole: map[string]bool{}, ends: map[string]bool{}, begins: map[string]bool{}, switches: map[string]bool{}, tests: map[string]bool{}}
	var files []*ast.File
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != "../.." && strings.HasPrefix(entry.Name(), "."):
			return filepath.SkipDir
		case entry.IsDir() || !strings.HasSuffix(path, ".go"):
			return nil
		}
		file, err := parser.ParseFile(gotoken.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		if !strings.HasSuffix(path, "_test.go") {
			files = append(files, file)
			return nil
		}
		for _, declared := range file.Decls {
			if function, is := declared.(*ast.FuncDecl); is && strings.HasPrefix(function.Name.Name, "Test") {
				found.tests[function.Name.Name] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	texts, takes := map[string]string{}, map[string]int{} // constants, and the place of the parameter "point" of functions
	for _, file := range files {
		ast.Inspect(file, func(node ast.Node) bool {
			switch n := node.(type) {
			case *ast.ValueSpec:
				for i, name := range n.Names {
					if i < len(n.Values) {
						if text, is := literal(n.Values[i]); is {
							texts[name.Name] = text
						}
					}
				}
			case *ast.FuncDecl:
				at := 0
				for _, field := range n.Type.Params.List {
					for _, name := range field.Names {
						if name.Name == "point" {
							takes[n.Name.Name] = at
						}
						at++
					}
				}
			}
			return true
		})
	}
	for _, file := range files {
		ast.Inspect(file, func(node ast.Node) bool {
			if call, is := node.(*ast.CallExpr); is {
				found.read(t, call, texts, takes)
			}
			return true
		})
	}
	return found
}

// read takes what a call says.
func (f failpoints) read(t *testing.T, call *ast.CallExpr, texts map[string]string, takes map[string]int) {
	function, is := call.Fun.(*ast.SelectorExpr)
	if !is {
		return
	}
	if of, is := function.X.(*ast.Ident); is && of.Name == "failpoint" {
		name := call.Args[len(call.Args)-1]
		text, plain := literal(name)
		sum, isSum := name.(*ast.BinaryExpr)
		constant, isConstant := name.(*ast.Ident)
		switch {
		case function.Sel.Name == "On" && isConstant:
			f.switches[texts[constant.Name]] = true
		case function.Sel.Name == "On" && plain:
			f.switches[text] = true
		case function.Sel.Name == "Hit" && plain:
			f.whole[text] = true
		case function.Sel.Name == "Hit" && isSum:
			end, _ := literal(sum.Y)
			f.ends[end] = true
		case function.Sel.Name == "Hit" || function.Sel.Name == "On":
			t.Errorf("a failpoint's name is neither a text nor a parameter and an end, and cannot be looked for: %v", name)
		}
		return
	}
	if at, takes := takes[function.Sel.Name]; takes && at < len(call.Args) {
		if text, plain := literal(call.Args[at]); plain && strings.Contains(text, ".") {
			f.begins[text] = true
		}
	}
}

func literal(expression ast.Expr) (string, bool) {
	basic, is := expression.(*ast.BasicLit)
	if !is || basic.Kind != gotoken.STRING {
		return "", false
	}
	text, err := strconv.Unquote(basic.Value)
	return text, err == nil
}
