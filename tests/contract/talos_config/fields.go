package main

import (
	"encoding"
	"reflect"
	"strings"
	"time"

	"github.com/siderolabs/talos/pkg/machinery/config/configloader"
)

// Fields tells how every document is built. A field is its kind, and letters: p behind a pointer,
// w written even when it is empty, r replaced by a patch.
type Fields struct {
	Kinds    map[string]string            `json:"kinds"`
	Sections map[string]map[string][2]any `json:"sections"`
}

var textReader = reflect.TypeFor[encoding.TextUnmarshaler]()

// newFields returns the fields of v1alpha1, under the kind "", and of the documents of these kinds.
func newFields(kinds []string) (Fields, error) {
	fields := Fields{Kinds: map[string]string{}, Sections: map[string]map[string][2]any{}}

	for _, kind := range append(kinds, "") {
		text := "apiVersion: v1alpha1\nkind: " + kind + "\n"
		if kind == "" {
			text = "machine: {}\n"
		}

		provider, err := configloader.NewFromBytes([]byte(text))
		if err != nil {
			return fields, err
		}

		document := reflect.TypeOf(provider.Documents()[0]).Elem()
		fields.Kinds[kind] = document.String()
		fields.add(document)
	}

	return fields, nil
}

func (fields Fields) add(section reflect.Type) {
	if _, known := fields.Sections[section.String()]; known {
		return
	}

	found := map[string][2]any{}
	fields.Sections[section.String()] = found
	fields.collect(section, found)
}

func (fields Fields) collect(section reflect.Type, found map[string][2]any) {
	for number := range section.NumField() {
		field := section.Field(number)
		parts := strings.Split(field.Tag.Get("yaml"), ",")
		letters := ""

		if len(parts) > 1 && parts[1] == "inline" {
			fields.collect(field.Type, found)

			continue
		}

		if parts[0] == "-" || (parts[0] == "" && !field.IsExported()) {
			continue
		}

		if field.Type.Kind() == reflect.Pointer {
			letters += "p"
		}

		if !strings.Contains(field.Tag.Get("yaml"), "omitempty") {
			letters += "w"
		}

		if field.Tag.Get("merge") == "replace" {
			letters += "r"
		}

		found[parts[0]] = [2]any{fields.kind(field.Type), letters}
	}
}

// kind returns a scalar's name, what a list, map or section holds, or the type that reads itself.
func (fields Fields) kind(of reflect.Type) any {
	if of.Kind() == reflect.Pointer {
		return fields.kind(of.Elem())
	}

	pointer := reflect.PointerTo(of)
	_, reader := pointer.MethodByName("UnmarshalYAML")
	isList := of.Kind() == reflect.Slice && of.Elem().Kind() == reflect.Struct

	if (reader || pointer.Implements(textReader) || of == reflect.TypeFor[time.Duration]()) && !isList {
		return of.String()
	}

	switch of.Kind() {
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Interface:
		return "any"
	case reflect.Float32, reflect.Float64:
		return "number"
	case reflect.Slice:
		return map[string]any{"list": fields.kind(of.Elem())}
	case reflect.Map:
		return map[string]any{"map": fields.kind(of.Elem())}
	case reflect.Struct:
		if of.NumField() == 1 && of.Field(0).Type.Kind() == reflect.Map {
			return "object" // of any form; the map is inline
		}

		fields.add(of)

		return map[string]any{"section": of.String()}
	default:
		return "integer"
	}
}
