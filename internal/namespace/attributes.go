// Package namespace is what Millrace needs of a Temporal namespace: its search attributes.
package namespace

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
)

// Attributes are search attributes by name, with their types.
type Attributes map[string]enumspb.IndexedValueType

// MissingError says which search attributes a namespace lacks, and how to create them.
type MissingError struct {
	Namespace string
	Missing   Attributes
}

// Error names the attributes and gives the commands that create them, a line each.
func (e *MissingError) Error() string {
	var text strings.Builder
	fmt.Fprintf(&text, "namespace %q has no search attribute %s: run `millrace setup`, or\n", e.Namespace, strings.Join(e.Missing.names(), ", "))
	for _, name := range e.Missing.names() {
		fmt.Fprintf(&text, "  temporal operator search-attribute create --namespace %s --name %s --type %s\n", e.Namespace, name, e.Missing[name])
	}
	return strings.TrimSuffix(text.String(), "\n")
}

func (a Attributes) names() []string {
	var names []string
	for name := range a {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// Check answers with a MissingError when the namespace lacks one of the attributes, or has it with another type.
func Check(ctx context.Context, temporal client.Client, name string, wanted Attributes) error {
	missing, err := missing(ctx, temporal, name, wanted)
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		return &MissingError{Namespace: name, Missing: missing}
	}
	return nil
}

// Create creates the attributes that the namespace lacks and says which these were. Called twice, or by two at once,
// it creates nothing the second time.
func Create(ctx context.Context, temporal client.Client, name string, wanted Attributes) ([]string, error) {
	missing, err := missing(ctx, temporal, name, wanted)
	if err != nil || len(missing) == 0 {
		return nil, err
	}
	_, err = temporal.OperatorService().AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{
		Namespace: name, SearchAttributes: missing,
	})
	var exists *serviceerror.AlreadyExists
	if err != nil && !errors.As(err, &exists) {
		return nil, fmt.Errorf("create search attributes %s in namespace %q: %w", strings.Join(missing.names(), ", "), name, err)
	}
	return missing.names(), nil
}

func missing(ctx context.Context, temporal client.Client, name string, wanted Attributes) (Attributes, error) {
	have, err := temporal.OperatorService().ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: name})
	if err != nil {
		return nil, fmt.Errorf("list the search attributes of namespace %q: %w", name, err)
	}
	missing := Attributes{}
	for attribute, kind := range wanted {
		got, found := have.GetCustomAttributes()[attribute]
		switch {
		case !found:
			missing[attribute] = kind
		case got != kind:
			return nil, fmt.Errorf("search attribute %s of namespace %q has type %s, Millrace needs %s: remove it with `temporal operator search-attribute remove --namespace %s --name %s`, then run `millrace setup`",
				attribute, name, got, kind, name, attribute)
		}
	}
	return missing, nil
}
