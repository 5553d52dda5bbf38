// Command talosconfig makes, patches and validates machine configurations with Talos' own library.
//
// It reads a list of cases from stdin and writes a list of results, in the same order.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/siderolabs/talos/pkg/machinery/config"
	"github.com/siderolabs/talos/pkg/machinery/config/configloader"
	"github.com/siderolabs/talos/pkg/machinery/config/configpatcher"
	"github.com/siderolabs/talos/pkg/machinery/config/encoder"
	"github.com/siderolabs/talos/pkg/machinery/config/generate"
	"github.com/siderolabs/talos/pkg/machinery/config/generate/secrets"
	"github.com/siderolabs/talos/pkg/machinery/config/machine"
	"github.com/siderolabs/talos/pkg/machinery/role"
	"go.yaml.in/yaml/v4"
)

// Case is one machine: generated from a bundle, or as it stands in Config; then patched, then validated.
type Case struct {
	Bundle            string   `json:"bundle"`
	ClusterName       string   `json:"clusterName"`
	Endpoint          string   `json:"endpoint"`
	KubernetesVersion string   `json:"kubernetesVersion"`
	TalosVersion      string   `json:"talosVersion"`
	Kind              string   `json:"kind"`
	PodSubnets        []string `json:"podSubnets"`
	ServiceSubnets    []string `json:"serviceSubnets"`
	DNSDomain         string   `json:"dnsDomain"`
	Config            string   `json:"config"`
	Patches           []string `json:"patches"`
}

// Result tells how far a case came: Stage is the step that failed, and Error or Panic how.
type Result struct {
	Config   string   `json:"config"`
	Stage    string   `json:"stage"`
	Error    string   `json:"error"`
	Panic    string   `json:"panic"`
	Warnings []string `json:"warnings"`
	Invalid  string   `json:"invalid"`
}

// cloud is the mode of the platform hcloud.
type cloud struct{}

func (cloud) String() string        { return "cloud" }
func (cloud) RequiresInstall() bool { return false }
func (cloud) InContainer() bool     { return false }

func main() {
	if err := answer(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func answer() error {
	var input struct {
		Kinds []string `json:"kinds"`
		Cases []Case   `json:"cases"`
	}

	reading := json.NewDecoder(os.Stdin).Decode(&input)
	keys, making := newKeys()
	fields, looking := newFields(input.Kinds)

	results := make([]Result, len(input.Cases))
	for number, each := range input.Cases {
		results[number] = run(each)
	}

	output := map[string]any{"keys": keys, "fields": fields, "results": results}

	return errors.Join(reading, making, looking, json.NewEncoder(os.Stdout).Encode(output))
}

func run(each Case) (result Result) {
	defer func() {
		if caught := recover(); caught != nil {
			result.Panic = fmt.Sprint(caught)
		}
	}()

	result.Stage = "generate"

	text, err := generated(each)
	if err == nil {
		result.Stage = "patch"
		text, err = patched(text, each.Patches)
	}

	if err != nil {
		result.Error = err.Error()
		return result
	}

	result.Config, result.Stage = string(text), "load"

	provider, err := configloader.NewFromBytes(text)
	if err != nil {
		result.Error = err.Error()
		return result
	}

	result.Stage = ""

	result.Warnings, err = provider.Validate(cloud{})
	if err != nil {
		result.Invalid = err.Error()
	}

	return result
}

func generated(each Case) ([]byte, error) {
	if each.Config != "" {
		return []byte(each.Config), nil
	}

	bundle, err := loadBundle(each.Bundle)
	if err != nil {
		return nil, err
	}

	contract, err := config.ParseContractFromVersion(each.TalosVersion)
	if err != nil {
		return nil, err
	}

	kind, err := machine.ParseType(each.Kind)
	if err != nil {
		return nil, err
	}

	input, err := generate.NewInput(each.ClusterName, each.Endpoint, each.KubernetesVersion,
		generate.WithVersionContract(contract), generate.WithSecretsBundle(bundle), generate.WithDNSDomain(each.DNSDomain))
	if err != nil {
		return nil, err
	}

	input.PodNet, input.ServiceNet = each.PodSubnets, each.ServiceSubnets

	provider, err := input.Config(kind)
	if err != nil {
		return nil, err
	}

	return provider.EncodeBytes(encoder.WithComments(encoder.CommentsDisabled))
}

func patched(text []byte, patches []string) ([]byte, error) {
	var loaded []configpatcher.Patch

	for _, each := range patches {
		patch, err := configpatcher.LoadPatch([]byte(each))
		if err != nil {
			return nil, err
		}

		loaded = append(loaded, patch)
	}

	output, err := configpatcher.Apply(configpatcher.WithBytes(text), loaded)
	if err != nil {
		return nil, err
	}

	return output.Bytes()
}

func loadBundle(text string) (*secrets.Bundle, error) {
	bundle := &secrets.Bundle{Clock: secrets.NewClock()}
	if err := yaml.Unmarshal([]byte(text), bundle); err != nil {
		return nil, err
	}

	return bundle, bundle.Validate()
}

// newKeys returns secrets that the library made itself, and what an administrator is given.
func newKeys() (map[string]any, error) {
	bundle, err := secrets.NewBundle(secrets.NewClock(), config.TalosVersion1_12)
	text, encoding := yaml.Marshal(bundle)
	admin, signing := bundle.GenerateTalosAPIClientCertificate(role.MakeSet(role.Admin))

	if err = errors.Join(err, encoding, signing); err != nil {
		return nil, err
	}

	return map[string]any{"bundle": string(text), "adminCrt": admin.Crt, "adminKey": admin.Key}, nil
}
