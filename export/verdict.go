package export

// Verdict is what an answer of a system means: for the workflow, which obeys the kind, and for people.
type Verdict struct {
	Kind Kind
	// Text says in plain words what is the matter and what to do about it, without the system's own words, which may show
	// values of rows. It is part of a sentence: lower case, no full stop.
	Text string
}

// Codes is a system's table of codes: what each of its answers means. A system has one, and nothing but the code of an
// answer decides; the pages in docs/runbooks list all of it.
type Codes map[string]Verdict

// Judge looks a code up. Where it is not in the table, its class is: as many first characters as classLength says, 0 for
// systems without classes. It is not found otherwise.
func (c Codes) Judge(code string, classLength int) (Verdict, bool) {
	found, known := c[code]
	if !known && classLength > 0 && len(code) > classLength {
		found, known = c[code[:classLength]]
	}
	return found, known
}

// TryAgain ends the texts of verdicts that need nobody.
const TryAgain = "it is tried again by itself"

// Means makes a verdict of this kind.
func (k Kind) Means(text string) Verdict { return Verdict{Kind: k, Text: text} }
