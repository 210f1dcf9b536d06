package config

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// envPrefix begins the names of the environment variables that override keys.
const envPrefix = "REPLYGATE_"

// otherVariables are variables with the prefix that are no keys: those of subcommands and tests.
var otherVariables = []string{"REPLYGATE_CORP_SECRET", "REPLYGATE_BOTS"}

// injected matches the variables that Kubernetes and Docker set in each container for a service or
// linked container called replygate, or replygate-something.
var injected = regexp.MustCompile(`^REPLYGATE(_[A-Z0-9_]+)?_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$|^REPLYGATE_(NAME$|ENV_)`)

// envName returns the variable that overrides a dotted key.
func envName(key string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// unknownVariables reports the variables that look like overrides and name no key. Empty ones, and
// those that the file itself refers to as ${NAME}, are none.
func (d *decoder) unknownVariables() {
	var known []string
	for _, key := range Keys() {
		known = append(known, envName(key))
	}
	for _, entry := range os.Environ() {
		name, value, _ := strings.Cut(entry, "=")
		other := value == "" || !strings.HasPrefix(name, envPrefix) || slices.Contains(known, name) ||
			slices.Contains(otherVariables, name) || d.referred[name] || injected.MatchString(name)
		if !other {
			d.report(Position{Env: name}, "no key has this variable", variableRemedy(name, slices.Clone(known)))
		}
	}
}

// variableRemedy says what to do about a variable that names no scalar key.
func variableRemedy(name string, known []string) string {
	for _, list := range listKeys(reflect.TypeFor[Config](), "") {
		if name == envName(list) {
			return list + " is a list: write it in the file, where a value can be ${NAME}"
		}
	}
	if plain, file := strings.CutSuffix(name, "_FILE"); file && slices.Contains(known, plain) {
		key := Keys()[slices.Index(known, plain)]
		return fmt.Sprintf("write %s_file in the file, or set %s to the value itself", key, plain)
	}
	for _, k := range known {
		if strings.HasPrefix(k, name+"_") {
			return "it names a section; set one of its keys, like " + k
		}
	}
	for i := range known {
		known[i] = strings.TrimPrefix(known[i], envPrefix)
	}
	if near := Nearest(strings.TrimPrefix(name, envPrefix), known); len(near) > 0 {
		return "did you mean " + envPrefix + strings.Join(near, " or "+envPrefix) + "?"
	}
	return "name it after a key, like REPLYGATE_LISTEN_API for listen.api, or unset it"
}

// listKeys returns the dotted keys of a struct that are lists.
func listKeys(t reflect.Type, path string) (all []string) {
	for i := range t.NumField() {
		name, field := t.Field(i).Tag.Get("yaml"), t.Field(i).Type
		switch {
		case name == "" || name == "-":
		case field.Kind() == reflect.Slice:
			all = append(all, join(path, strings.TrimSuffix(name, "[]")))
		case field.Kind() == reflect.Struct && !isScalar(field):
			all = append(all, listKeys(field, join(path, name))...)
		}
	}
	return all
}
