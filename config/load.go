package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/viper"
	"go.yaml.in/yaml/v3"
)

// maxFileBytes bounds a file, maxSecretBytes one that holds a secret, maxNodes the number of values
// that the aliases of a file may unfold to.
const (
	maxFileBytes   = 64 << 20
	maxSecretBytes = 64 << 10
	maxNodes       = 5_000_000
)

// Read reads the file at path for Parse. A file of more than 64 MB is an error. Errors wrap a
// *fs.PathError.
func Read(path string) ([]byte, error) {
	data, err := read(path, maxFileBytes)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	return data, nil
}

// ReadAgain is Read for a file that may be read any number of times.
func ReadAgain(path string) ([]byte, error) {
	if err := Rereadable(path); err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	return Read(path)
}

// Rereadable returns an error, of type *fs.PathError, if a file is neither a regular file nor a
// folder: a pipe gives its content once, and then waits for another writer.
func Rereadable(path string) error {
	info, err := os.Stat(path)
	if err != nil || info.Mode().IsRegular() || info.IsDir() {
		return nil // opening or reading it tells what else is wrong
	}
	return &fs.PathError{Op: "read", Path: path, Err: errors.New("it is no regular file")}
}

// readNamed reads a file that a configuration names, of at most limit bytes. It is read again at
// each reload.
func readNamed(path string, limit Size) ([]byte, error) {
	if err := Rereadable(path); err != nil {
		return nil, err
	}
	return read(path, limit)
}

// read reads a file of at most limit bytes. Errors are of type *fs.PathError.
func read(path string, limit Size) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err != nil {
		return nil, err
	}
	if len(data) > int(limit) {
		return nil, &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("it is larger than %s", limit)}
	}
	return data, nil
}

// Load reads the configuration at path, and parses it. hash is that of the content that was read,
// also if there are mistakes in it; it is "" if the file or its accounts_file cannot be read.
func Load(path string) (c *Config, hash string, err error) {
	data, err := Read(path)
	if err != nil {
		return nil, "", err
	}
	d := newDecoder(path)
	c, err = d.readConfig(data)
	if !d.unread {
		hash = Hash(data, d.accounts)
	}
	return c, hash, err
}

// Hash identifies the content of a configuration in data. accounts is that of its accounts_file,
// nil if it has none.
func Hash(data, accounts []byte) string {
	if accounts != nil {
		data = slices.Concat(data, []byte{0}, accounts)
	}
	h := sha256.Sum256(data)
	return hex.EncodeToString(h[:8])
}

// Parse reads a configuration from data, applies the environment on top and validates the result.
// file is the name used in error messages. The error, if any, is of type Mistakes and holds every
// mistake found.
func Parse(file string, data []byte) (*Config, error) { return newDecoder(file).readConfig(data) }

func (d *decoder) readConfig(data []byte) (*Config, error) {
	c := Default()
	root, ok := d.document(data)
	if !ok {
		return nil, d.mistakes.Err()
	}
	d.walk(root, reflect.ValueOf(&c).Elem(), "")
	d.fillScalars(&c)
	d.resolveFiles(&c)
	d.readAccountsFile(&c)
	d.unknownVariables()
	c.where, c.files = d.where, d.files
	validate(&c, d)
	if err := d.mistakes.Err(); err != nil {
		return nil, err
	}
	return &c, nil
}

// ParseRuleSet reads a rule set. file is the name used in error messages.
func ParseRuleSet(file string, data []byte) (RuleSet, error) {
	var set RuleSet
	err := Decode(file, data, &set)
	return set, err
}

// Decode reads another kind of YAML file into a pointer to a list, or to a struct of lists, as
// strictly as a configuration. Its structs use yaml tags and Word like those of Config. The error,
// if any, is of type Mistakes; file is the name used in it.
func Decode(file string, data []byte, into any) error { return newDecoder(file).readInto(data, into) }

func (d *decoder) readInto(data []byte, target any) error {
	if root, ok := d.document(data); ok {
		d.walk(root, reflect.ValueOf(target).Elem(), "")
		d.bounded()
	}
	return d.mistakes.Err()
}

// decoder turns YAML nodes into a configuration and collects the mistakes in them.
type decoder struct {
	file      string
	mistakes  Mistakes
	scalars   map[string]Word     // the file's scalars outside lists, by dotted key
	where     map[string]Position // the position of each key, dotted, with the index of list items
	nodes     int                 // visited so far, aliases unfolded
	otherFile string              // accounts_file while it is read, else empty
	accounts  []byte              // the content of accounts_file, nil without one
	unread    bool                // accounts_file cannot be read
	files     []NamedFile         // of secrets
	isolated  bool                // neither files nor the environment may be read
	referred  map[string]bool     // variables that values refer to as ${NAME}
}

func newDecoder(file string) *decoder {
	return &decoder{file: file, scalars: map[string]Word{}, where: map[string]Position{}, referred: map[string]bool{}}
}

// bounded reports whether walk has visited the whole file, and adds a mistake if it has not.
func (d *decoder) bounded() bool {
	if d.nodes <= maxNodes {
		return true
	}
	d.report(Position{}, "the file unfolds to too many values", "use fewer aliases")
	return false
}

func (d *decoder) report(at Position, what, remedy string) {
	d.mistakes.Add(d.file, at, what, remedy)
}

// yamlLine is the place in an error of the YAML parser, which is often wrong: see syntaxProblem.
var yamlLine = regexp.MustCompile(`^yaml: line \d+: `)

// document parses the single YAML document of the file. An empty file is an empty mapping.
func (d *decoder) document(data []byte) (*yaml.Node, bool) {
	text, bad := toUTF8(data)
	if bad == nil {
		data, bad = text, forbiddenCharacter(text)
	}
	if bad != nil {
		d.problem(data, bad)
		return nil, false
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var doc, second yaml.Node
	err := dec.Decode(&doc)
	if errors.Is(err, io.EOF) {
		return &yaml.Node{Kind: yaml.MappingNode, Line: 1, Column: 1}, true
	}
	if err != nil {
		d.problem(text, syntaxProblem(text, err))
		return nil, false
	}
	if err := dec.Decode(&second); !errors.Is(err, io.EOF) {
		if second.Line == 0 { // it is not YAML
			d.problem(text, &problem{bytes.LastIndex(text, []byte("\n---")) + 1, "a second document", "keep one; remove the line ---"})
		} else {
			d.report(d.position(&second), "a second document", "keep one; remove the line ---")
		}
	}
	return doc.Content[0], true
}

// problem reports a problem of the text that is read.
func (d *decoder) problem(text []byte, p *problem) {
	at := positionAt(text, p.offset)
	at.File = d.otherFile
	d.report(at, p.what, p.remedy)
}

func (d *decoder) position(n *yaml.Node) Position {
	return Position{Line: n.Line, Col: n.Column, File: d.otherFile}
}

// walk decodes node into v. Scalars outside lists are only collected, because the environment may
// override them.
func (d *decoder) walk(node *yaml.Node, v reflect.Value, path string) {
	if d.nodes++; d.nodes > maxNodes {
		return
	}
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	at := d.position(node)
	switch {
	case v.Type() == reflect.TypeFor[Word](), isScalar(v.Type()):
		text, ok := d.scalarText(node, path)
		switch {
		case !ok:
		case v.Type() == reflect.TypeFor[Word]():
			v.Set(reflect.ValueOf(Word{Text: text, At: at}))
		case strings.Contains(path, "["):
			d.set(v, Word{Text: text, At: at})
		default:
			d.scalars[path] = Word{Text: text, At: at}
		}
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.walk(node, v.Elem(), path)
	case v.Kind() == reflect.Slice:
		d.list(node, v, path)
	case v.Kind() == reflect.Struct:
		d.mapping(node, v, path)
	default:
		panic("BUG: config cannot hold a " + v.Type().String())
	}
}

func isScalar(t reflect.Type) bool {
	switch t {
	case reflect.TypeFor[time.Time](), reflect.TypeFor[*int]():
		return true
	}
	switch t.Kind() {
	case reflect.String, reflect.Bool, reflect.Int, reflect.Int64, reflect.Float64:
		return true
	}
	return false
}

func (d *decoder) list(node *yaml.Node, v reflect.Value, path string) {
	at := d.position(node)
	if r, wide := wideDash(node); wide {
		d.report(at, fmt.Sprintf("%s must be a list, and %q is not its dash", displayPath(path), r), dashRemedy)
		return
	}
	if node.Kind != yaml.SequenceNode {
		d.report(at, displayPath(path)+" must be a list", "write [a, b], or one item per line after a dash")
		return
	}
	if len(node.Content) == 0 && mayBeEmpty(path) {
		return
	}
	if len(node.Content) == 0 {
		d.report(at, displayPath(path)+" is an empty list", "write something into it, or leave the key out; in a match an absent list means any")
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(node.Content), len(node.Content)))
	for i, item := range node.Content {
		itemPath := fmt.Sprintf("%s[%d]", path, i)
		d.where[itemPath] = d.position(item)
		d.walk(item, v.Index(i), itemPath)
	}
}

// listsThatMayBeEmpty are those whose empty form means the same as an absent one: of what a webhook
// or robot gets everything, and no other gateways.
var listsThatMayBeEmpty = regexp.MustCompile(`^(events\.(webhooks|robots)(\[\d+\])?\.(types|accounts)|admin\.peers)$`)

func mayBeEmpty(path string) bool { return listsThatMayBeEmpty.MatchString(path) }

// wideDash returns the dash with which the text or first key of a node begins, if it is not that of
// ASCII.
func wideDash(node *yaml.Node) (rune, bool) {
	if node.Kind == yaml.MappingNode && len(node.Content) > 0 {
		node = node.Content[0]
	}
	r, _ := utf8.DecodeRuneInString(node.Value)
	return r, node.Kind == yaml.ScalarNode && strings.ContainsRune(wideDashes, r)
}

func (d *decoder) mapping(node *yaml.Node, v reflect.Value, path string) {
	at := d.position(node)
	fields := fieldsByKey(v.Type())
	if i, ok := fields[positionField]; ok {
		v.Field(i).Set(reflect.ValueOf(at))
	}
	if node.Kind == yaml.ScalarNode && node.Tag == "!!null" {
		return // "key:" without a value: all defaults
	}
	if i, ok := fields[noneField]; ok && node.Kind == yaml.ScalarNode {
		if text, ok := d.scalarText(node, path); ok {
			d.set(v.Field(i), Word{Text: text, At: at})
		}
		return
	}
	if key, _, colon := strings.Cut(node.Value, "："); colon && node.Kind == yaml.ScalarNode && node.Style == 0 {
		at.Col += utf8.RuneCountInString(key)
		d.report(at, displayPath(path)+" must be a mapping, and '：' is full-width", asciiRemedy('：'))
		return
	}
	if node.Kind != yaml.MappingNode {
		d.report(at, displayPath(path)+" must be a mapping", "write its keys below it, indented, each as key: value")
		return
	}
	seen := map[string]Position{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		name, at := key.Value, d.position(key)
		if first, twice := seen[name]; twice {
			d.report(at, fmt.Sprintf("%s is given twice", join(path, name)), fmt.Sprintf("it is already in line %d; keep one", first.Line))
			continue
		}
		seen[name] = at
		plain := strings.TrimSuffix(name, "_file")
		if first, both := seen[alternateKey(name)]; both && isSecret(v, fields, plain) {
			d.report(at, fmt.Sprintf("%s and %s_file are both given", join(path, plain), join(path, plain)), fmt.Sprintf("the other is in line %d; keep one", first.Line))
			continue
		}
		if index, ok := fields[name+"[]"]; ok && value.Kind == yaml.SequenceNode { // the list form
			d.where[join(path, name)] = d.position(value)
			d.walk(value, v.Field(index), join(path, name))
			continue
		}
		if index, ok := fields[name]; ok && isKey(name) {
			d.where[join(path, name)] = d.position(value)
			d.walk(value, v.Field(index), join(path, name))
			continue
		}
		if isSecret(v, fields, plain) {
			d.secretFile(value, v.Field(fields[plain]), join(path, plain))
			continue
		}
		remedy := keyRemedy(name, keyNames(fields), secretNames(v, fields))
		if outer, inner, dotted := strings.Cut(name, "."); dotted && slices.Contains(keyNames(fields), outer) {
			remedy = "write " + inner + " below " + outer + ", indented"
		}
		d.report(at, "unknown key "+join(path, name), remedy)
	}
}

// keyRemedy returns the remedy for a key that is not among the known ones. A colon or dash without
// a blank after it is part of the key.
func keyRemedy(name string, known, files []string) string {
	if before, _, colon := strings.Cut(name, ":"); colon && slices.Contains(known, before) {
		return "write a blank after the colon"
	}
	if after, dash := strings.CutPrefix(name, "-"); dash && after != "" && after[0] != ' ' {
		return "if the dash begins a list item, write a blank after it"
	}
	if near := Nearest(name, files); len(near) > 0 && len(Nearest(name, known)) == 0 {
		return "did you mean " + or(near) + "?"
	}
	return DidYouMean(name, known)
}

// secretNames returns the keys of v that name the file of a secret.
func secretNames(v reflect.Value, fields map[string]int) (all []string) {
	for _, key := range keyNames(fields) {
		if isSecret(v, fields, key) {
			all = append(all, key+"_file")
		}
	}
	return all
}

// isSecret reports whether the field of v for a key, given without _file, is a Secret or a list of
// them.
func isSecret(v reflect.Value, fields map[string]int, key string) bool {
	index, ok := fields[key]
	return ok && hasFile(v.Field(index).Type())
}

// hasFile reports whether a file can hold a value of type t: a Secret, or a list of them.
func hasFile(t reflect.Type) bool {
	return t == reflect.TypeFor[Secret]() || t == reflect.TypeFor[[]Secret]()
}

// alternateKey returns the other key for the same secret: password_file for password, and the
// reverse.
func alternateKey(key string) string {
	if plain, file := strings.CutSuffix(key, "_file"); file {
		return plain
	}
	return key + "_file"
}

// secretFile reads a secret from the file that a _file key names, without its final newlines.
func (d *decoder) secretFile(node *yaml.Node, v reflect.Value, path string) {
	name, ok := d.scalarText(node, path+"_file")
	if !ok {
		return
	}
	if d.isolated {
		return
	}
	name = d.beside(name)
	d.files = append(d.files, NamedFile{Key: path + "_file", Path: name})
	data, err := readNamed(name, maxSecretBytes)
	if err != nil {
		d.report(d.position(node), fmt.Sprintf("%s_file: %v", path, err), "name a file that the gateway can read")
		return
	}
	if v.Kind() == reflect.Slice {
		d.where[path] = d.position(node)
		d.secretLines(name, string(data), v, path)
		return
	}
	text := strings.TrimPrefix(string(data), "\ufeff") // a byte order mark, as editors of Windows write
	secret := Word{Text: strings.TrimRight(text, "\r\n"), At: d.position(node)}
	d.where[path] = secret.At
	if strings.Contains(path, "[") {
		d.set(v, secret)
		return
	}
	d.scalars[path] = secret
}

// secretLines reads the secrets of a file that has one a line. Blank lines do not count.
func (d *decoder) secretLines(name, text string, v reflect.Value, path string) {
	var all []Secret
	line := 0
	for one := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
		line++
		if one = strings.TrimSpace(one); one != "" {
			d.where[fmt.Sprintf("%s[%d]", path, len(all))] = Position{File: name, Line: line, Col: 1}
			all = append(all, Secret(one))
		}
	}
	if len(all) == 0 {
		d.report(d.where[path], path+"_file has no secret", "write one a line into the file, or leave the key out")
	}
	v.Set(reflect.ValueOf(all))
}

var (
	variable = regexp.MustCompile(`\$\{([^}]*)\}`)
	// fallback matches what a shell would take for a variable with a default.
	fallback = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]*):?[-=?+]`)
)

// scalarText returns a scalar with each ${NAME} replaced by the environment variable NAME.
func (d *decoder) scalarText(node *yaml.Node, path string) (string, bool) {
	if node.Kind != yaml.ScalarNode {
		d.report(d.position(node), path+" must be a single value", "write it after the colon")
		return "", false
	}
	if node.Tag == "!!null" {
		d.report(d.position(node), path+" has no value", "write one after the colon, or leave the key out for its default")
		return "", false
	}
	if d.isolated {
		return node.Value, true
	}
	complete := true
	missing := func(what, remedy string) {
		d.report(d.position(node), what, remedy)
		complete = false
	}
	text := variable.ReplaceAllStringFunc(node.Value, func(ref string) string {
		name := ref[2 : len(ref)-1]
		d.referred[name] = true
		value, set := os.LookupEnv(name)
		shell := fallback.FindStringSubmatch(name)
		switch {
		case set:
		case name == "":
			missing("${} names no environment variable", "write its name, like ${NAME}")
		case strings.Contains(name, "${"):
			missing("the ${ is not closed", unclosedRemedy)
		case shell != nil: // the default may be secret
			missing("${"+shell[1]+"} cannot have a default", "write ${"+shell[1]+"}, and set "+shell[1]+" where the gateway is started")
		default:
			missing("the environment variable "+name+" is not set", "set it where the gateway is started")
		}
		return value
	})
	if strings.Contains(variable.ReplaceAllString(node.Value, " "), "${") {
		missing("the ${ is not closed", unclosedRemedy)
	}
	return text, complete
}

const unclosedRemedy = "write the } that belongs to it; a value with ${ of its own must come from a variable or from the file of a secret"

// fillScalars sets the scalars outside lists. The environment (REPLYGATE_LISTEN_API for listen.api)
// overrides the file, which overrides the default. viper does the layering; it folds the case of
// keys, which is harmless because all keys are lower case. Each variable is bound by its name: with
// AutomaticEnv, REPLYGATE_LOG would hide log.level and all other keys below log.
func (d *decoder) fillScalars(c *Config) {
	v := viper.New()
	for path, word := range d.scalars {
		v.SetDefault(path, word.Text)
	}
	eachScalar(reflect.ValueOf(c).Elem(), "", func(path string, field reflect.Value) {
		env := envName(path)
		if !d.isolated {
			_ = v.BindEnv(path, env) // fails only without a key
		}
		word, inFile := d.scalars[path]
		if text, set := os.LookupEnv(env); set && text != "" && !d.isolated {
			word = Word{At: Position{Env: env}}
			d.where[path] = word.At
		} else if !inFile {
			return // the struct already has the default
		}
		word.Text = v.GetString(path)
		d.set(field, word)
	})
	if d.where["policy.ruleset"].Env != "" {
		c.Policy.Rulesets = nil // the environment overrides the list form too
	}
}

// eachScalar visits the scalars of the configuration outside lists.
func eachScalar(v reflect.Value, path string, visit func(path string, field reflect.Value)) {
	for i := range v.NumField() {
		name, field := v.Type().Field(i).Tag.Get("yaml"), v.Field(i)
		switch {
		case name == "" || name == "-" || field.Kind() == reflect.Slice || field.Kind() == reflect.Pointer:
		case isScalar(field.Type()):
			visit(join(path, name), field)
		default:
			eachScalar(field, join(path, name), visit)
		}
	}
}

// set parses a word into v. An error of parse reads "what is wrong: the remedy".
func (d *decoder) set(v reflect.Value, w Word) {
	value, err := parse(v.Type(), w.Text)
	if err != nil {
		what, remedy, _ := strings.Cut(err.Error(), ": ")
		if v.Type() != reflect.TypeFor[time.Time]() { // its remedy has the converted value
			remedy = widthRemedy(w.Text, remedy)
		}
		d.report(w.At, what, remedy)
		if v.Type() == reflect.TypeFor[None]() {
			v.SetBool(true) // no further mistakes about the mapping
		}
		return
	}
	v.Set(reflect.ValueOf(value).Convert(v.Type()))
}

// parse reads text as a value of type t.
func parse(t reflect.Type, text string) (any, error) {
	switch t {
	case reflect.TypeFor[time.Duration]():
		return parseDuration(text)
	case reflect.TypeFor[Size]():
		return parseSize(text)
	case reflect.TypeFor[Percent]():
		return parsePercent(text)
	case reflect.TypeFor[Fraction]():
		return parseFraction(text)
	case reflect.TypeFor[None]():
		if text != "none" {
			return nil, fmt.Errorf("%q cannot stand for a mapping: write none, or its keys below it, indented", text)
		}
		return true, nil
	case reflect.TypeFor[time.Time]():
		return parseTime(text)
	case reflect.TypeFor[*int]():
		n, err := parseInt(text)
		return &n, err
	}
	switch t.Kind() {
	case reflect.String:
		return text, nil
	case reflect.Bool:
		if text != "true" && text != "false" {
			return nil, fmt.Errorf("%q is neither true nor false: write one of the two", text)
		}
		return text == "true", nil
	}
	return parseInt(text)
}

func parseInt(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || text != strconv.Itoa(n) {
		return 0, fmt.Errorf("%q is not a whole number: write only digits", text)
	}
	return n, nil
}

// positionField and noneField are the entries of fieldsByKey for the fields that take the struct's
// Position, and the word none in place of the mapping.
const (
	positionField = "-at"
	noneField     = "-none"
)

// fieldsByKey maps the yaml names of a struct's fields to their index. A name that ends in [] is
// the list form of the key without it.
func fieldsByKey(t reflect.Type) map[string]int {
	m := map[string]int{}
	for i := range t.NumField() {
		switch name := t.Field(i).Tag.Get("yaml"); {
		case name != "" && name != "-":
			m[name] = i
		case t.Field(i).Type == reflect.TypeFor[Position]():
			m[positionField] = i
		case t.Field(i).Type == reflect.TypeFor[None]():
			m[noneField] = i
		}
	}
	return m
}

// isKey reports whether an entry of fieldsByKey is a key that a file may have.
func isKey(name string) bool {
	return name != positionField && name != noneField && !strings.HasSuffix(name, "[]")
}

func keyNames(fields map[string]int) []string {
	var all []string
	for name := range fields {
		if isKey(name) {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func displayPath(path string) string {
	if path == "" {
		return "the file"
	}
	return path
}

// Keys returns the dotted keys of all scalars outside lists, in the order of Config.
func Keys() []string {
	var all []string
	c := Default()
	eachScalar(reflect.ValueOf(&c).Elem(), "", func(path string, _ reflect.Value) { all = append(all, path) })
	return all
}
