package destinations

import (
	"fmt"
	"slices"
	"strings"

	"github.com/millrace/millrace/export"
)

var kinds = map[string]Kind{}

// Register adds a kind of destination. It is called from init functions, and panics on a name that is taken.
func Register(kind Kind) {
	if _, taken := kinds[kind.Name]; taken {
		panic(fmt.Sprintf("destination kind %q is registered twice", kind.Name))
	}
	kinds[kind.Name] = kind
}

// Lookup finds a kind by name; its error lists the kinds there are.
func Lookup(name string) (Kind, error) {
	kind, found := kinds[name]
	if !found {
		return Kind{}, export.Errorf(export.KindConfig, "unknown field or destination %q: the destinations are %s", name, strings.Join(Names(), ", "))
	}
	return kind, nil
}

// Names lists the registered kinds, sorted.
func Names() []string {
	var names []string
	for name := range kinds {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Normalize gives a definition its defaults, checks it with its destination's block, and puts that block into
// canonical form, so that equal definitions have equal hashes.
func Normalize(definition export.Definition) (export.Definition, error) {
	definition = definition.WithDefaults()
	if err := definition.Validate(); err != nil {
		return definition, err
	}
	kind, err := Lookup(definition.Destination)
	if err != nil {
		return definition, export.Errorf(export.KindConfig, "export %q: %w", definition.Name, err)
	}
	settings, err := kind.Normalize(definition.Settings)
	if err != nil {
		return definition, export.Errorf(export.KindConfig, "export %q: %s: %w", definition.Name, definition.Destination, err)
	}
	definition.Settings = settings
	if definition.Order == "" {
		return definition, nil
	}
	if kind.InOrder == nil {
		return definition, export.Errorf(export.KindConfig, "export %q: order: %q is for files that readers take as they appear, and %s publishes a run at once: leave it out", definition.Name, definition.Order, definition.Destination)
	}
	if err := kind.InOrder(settings); err != nil {
		return definition, export.Errorf(export.KindConfig, "export %q: order: %q: %s: %w", definition.Name, definition.Order, definition.Destination, err)
	}
	return definition, nil
}

// Replaceable says why no revision of a normalised definition's run can take the place of a published one, or nil.
func Replaceable(definition export.Definition) error {
	kind, err := Lookup(definition.Destination)
	if err != nil || kind.Replaceable == nil {
		return err
	}
	if err := kind.Replaceable(definition.Settings); err != nil {
		return export.Errorf(export.KindConfig, "export %q: %s: %w", definition.Name, definition.Destination, err)
	}
	return nil
}
