package main

import (
	"fmt"
	"strings"
)

// Variable is one line of the contract between the world and whatever runs in it. The same names, with the
// same ports, are in docker-compose.yml; a test holds the two together.
type Variable struct {
	Name  string
	Value string
}

// exportLines are the variables for a shell to source.
func exportLines(variables []Variable) string {
	var b strings.Builder
	for _, v := range variables {
		fmt.Fprintf(&b, "export %s=%s\n", v.Name, shellQuote(v.Value))
	}
	return b.String()
}

func shellQuote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// overlay returns environ with the variables set. Names already in environ are replaced, never doubled:
// which of two equal names wins differs between programs.
func overlay(environ []string, variables []Variable) []string {
	ours := make(map[string]bool, len(variables))
	for _, v := range variables {
		ours[v.Name] = true
	}
	var out []string
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		if !ours[name] {
			out = append(out, entry)
		}
	}
	for _, v := range variables {
		out = append(out, v.Name+"="+v.Value)
	}
	return out
}
