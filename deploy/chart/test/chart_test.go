// Package test renders the chart with Helm's engine and decodes what comes out into the types of
// Kubernetes. It does not need a cluster. It is a module of its own, for these are large.
package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"
)

const shared = `
config:
  redis: { mode: single, addrs: ["redis:6379"] }
  accounts: [{ corp_id: ww0123456789abcdef, name: Acme East }]
`

// objects are what a chart makes.
type objects struct {
	config   *corev1.ConfigMap
	set      *appsv1.StatefulSet
	services map[string]*corev1.Service
	network  *networkingv1.NetworkPolicy
	budget   *policyv1.PodDisruptionBudget
}

// render renders the chart as helm install does.
func render(t *testing.T, values string) (map[string]string, error) {
	t.Helper()
	chart, err := loader.LoadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range chart.Files {
		if strings.HasPrefix(f.Name, "test/") {
			t.Errorf("the chart contains %s", f.Name)
		}
	}
	given, err := chartutil.ReadValues([]byte(values))
	if err != nil {
		t.Fatal(err)
	}
	release := chartutil.ReleaseOptions{Name: "bots", Namespace: "wecom", Revision: 1, IsInstall: true}
	all, err := chartutil.ToRenderValues(chart, given, release, chartutil.DefaultCapabilities)
	if err != nil {
		t.Fatal(err)
	}
	return engine.Engine{Strict: true}.Render(chart, all)
}

// install renders the chart, and decodes every object strictly.
func install(t *testing.T, values string) (o objects) {
	t.Helper()
	files, err := render(t, values)
	if err != nil {
		t.Fatal(err)
	}
	o.services = map[string]*corev1.Service{}
	for name, text := range files {
		if !strings.HasSuffix(name, ".yaml") {
			continue
		}
		for document := range strings.SplitSeq(text, "\n---\n") {
			var kind metav1.TypeMeta
			if err := yaml.Unmarshal([]byte(document), &kind); err != nil {
				t.Fatalf("%s: %v\n%s", name, err, document)
			}
			var into any
			var meta *metav1.ObjectMeta
			switch kind.APIVersion + " " + kind.Kind {
			case "v1 ConfigMap":
				o.config = &corev1.ConfigMap{}
				into, meta = o.config, &o.config.ObjectMeta
			case "v1 Service":
				s := &corev1.Service{}
				into, meta = s, &s.ObjectMeta
			case "apps/v1 StatefulSet":
				o.set = &appsv1.StatefulSet{}
				into, meta = o.set, &o.set.ObjectMeta
			case "networking.k8s.io/v1 NetworkPolicy":
				o.network = &networkingv1.NetworkPolicy{}
				into, meta = o.network, &o.network.ObjectMeta
			case "policy/v1 PodDisruptionBudget":
				o.budget = &policyv1.PodDisruptionBudget{}
				into, meta = o.budget, &o.budget.ObjectMeta
			case " ": // a template that made nothing
				continue
			default:
				t.Fatalf("%s makes a %s", name, kind)
			}
			if err := yaml.UnmarshalStrict([]byte(document), into); err != nil {
				t.Errorf("%s: %v\n%s", name, err, document)
			}
			if s, ok := into.(*corev1.Service); ok {
				o.services[s.Name] = s
			}
			if meta.Name == "" || meta.Labels["app.kubernetes.io/instance"] != "bots" {
				t.Errorf("%s: a %s without a name or its labels", name, kind.Kind)
			}
		}
	}
	return o
}

// The defaults: two replicas that keep their journals, secrets as files, probes, nobody but those
// who are named, and a budget.
func TestDefaults(t *testing.T) {
	o := install(t, shared)
	if o.config == nil || o.set == nil || o.network == nil || o.budget == nil || len(o.services) != 3 {
		t.Fatalf("objects are missing: %+v", o)
	}
	pod := o.set.Spec.Template
	for what, ok := range map[string]bool{
		"two replicas":                *o.set.Spec.Replicas == 2,
		"volumes outlive their pods":  o.set.Spec.PersistentVolumeClaimRetentionPolicy.WhenScaled == appsv1.RetainPersistentVolumeClaimRetentionPolicyType,
		"a journal volume":            len(o.set.Spec.VolumeClaimTemplates) == 1 && mounted(pod.Spec, "state") == "/data",
		"a folder for the config":     mounted(pod.Spec, "config") == "/etc/replygate",
		"secrets as files":            mounted(pod.Spec, "secrets") == "/run/secrets/replygate" && len(pod.Spec.Containers[0].Env) == 0,
		"not as root":                 *pod.Spec.SecurityContext.RunAsNonRoot,
		"no privileges":               !*pod.Spec.Containers[0].SecurityContext.AllowPrivilegeEscalation && *pod.Spec.Containers[0].SecurityContext.ReadOnlyRootFilesystem,
		"no API token":                !*pod.Spec.AutomountServiceAccountToken,
		"time to stop":                *pod.Spec.TerminationGracePeriodSeconds > 20,
		"the set selects its pods":    selects(t, o.set.Spec.Selector, pod.Labels),
		"the policy selects the pods": selects(t, &o.network.Spec.PodSelector, pod.Labels),
		"the budget selects the pods": selects(t, o.budget.Spec.Selector, pod.Labels),
		"one pod at a time":           o.budget.Spec.MaxUnavailable.IntValue() == 1,
		"rules for both directions":   len(o.network.Spec.PolicyTypes) == 2 && len(o.network.Spec.Ingress) == 4 && len(o.network.Spec.Egress) == 4,
		"an image of the app version": pod.Spec.Containers[0].Image == "replygate:0.1.0",
		"a headless service":          o.services[o.set.Spec.ServiceName] != nil && o.services[o.set.Spec.ServiceName].Spec.ClusterIP == "None",
		"keys from files":             strings.Contains(o.config.Data["replygate.yaml"], "change_key_file: /run/secrets/replygate/change_key"),
		"replicas find each other":    strings.Contains(o.config.Data["replygate.yaml"], "- "+o.set.Spec.ServiceName+":9090\n") && o.services[o.set.Spec.ServiceName].Spec.PublishNotReadyAddresses,
		"replicas may call replicas":  slices.ContainsFunc(o.network.Spec.Ingress, allows("admin", pod.Labels)) && slices.ContainsFunc(o.network.Spec.Egress, reaches(9090, pod.Labels)),
		"the password from a file":    strings.Contains(o.config.Data["replygate.yaml"], "password_file: /run/secrets/replygate/redis_password"),
	} {
		if !ok {
			t.Errorf("not so: %s", what)
		}
	}
	ports := map[string]bool{}
	for _, p := range pod.Spec.Containers[0].Ports {
		ports[p.Name] = true
	}
	probes := map[string]*corev1.Probe{"startup": pod.Spec.Containers[0].StartupProbe, "liveness": pod.Spec.Containers[0].LivenessProbe, "readiness": pod.Spec.Containers[0].ReadinessProbe}
	for name, probe := range probes {
		if probe == nil || probe.HTTPGet == nil || !ports[probe.HTTPGet.Port.StrVal] {
			t.Errorf("the %s probe asks no port of the container", name)
		}
	}
	for _, s := range o.services {
		if !selects(t, metav1.SetAsLabelSelector(s.Spec.Selector), pod.Labels) {
			t.Errorf("the service %s does not select the pods", s.Name)
		}
		for _, p := range s.Spec.Ports {
			if !ports[p.TargetPort.StrVal] {
				t.Errorf("the service %s leads to no port of the container: %s", s.Name, p.TargetPort.StrVal)
			}
		}
	}
	for _, rule := range o.network.Spec.Ingress {
		if len(rule.From) == 0 {
			t.Errorf("everybody may call %v", rule.Ports)
		}
	}
}

// allows returns whether a rule lets the pods of a selector call a port.
func allows(port string, pods map[string]string) func(networkingv1.NetworkPolicyIngressRule) bool {
	return func(r networkingv1.NetworkPolicyIngressRule) bool {
		return r.Ports[0].Port.StrVal == port && isTheSet(r.From, pods)
	}
}

// reaches returns whether a rule lets the gateway call a port of the pods of a selector.
func reaches(port int32, pods map[string]string) func(networkingv1.NetworkPolicyEgressRule) bool {
	return func(r networkingv1.NetworkPolicyEgressRule) bool {
		return r.Ports[0].Port.IntVal == port && isTheSet(r.To, pods)
	}
}

// isTheSet reports whether peers are the pods with some labels alone.
func isTheSet(peers []networkingv1.NetworkPolicyPeer, pods map[string]string) bool {
	if len(peers) != 1 || peers[0].PodSelector == nil || len(peers[0].PodSelector.MatchLabels) == 0 {
		return false
	}
	s, err := metav1.LabelSelectorAsSelector(peers[0].PodSelector)
	return err == nil && s.Matches(labels.Set(pods))
}

func mounted(pod corev1.PodSpec, volume string) string {
	for _, m := range pod.Containers[0].VolumeMounts {
		if m.Name == volume {
			return m.MountPath
		}
	}
	return ""
}

func selects(t *testing.T, s *metav1.LabelSelector, of map[string]string) bool {
	t.Helper()
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		t.Fatal(err)
	}
	return !selector.Empty() && selector.Matches(labels.Set(of))
}

// Every value changes what it says, and the result is still strict.
func TestValues(t *testing.T) {
	o := install(t, `
replicas: 3
image: { repository: registry.example.com/replygate, tag: v9 }
imagePullSecrets: [{ name: pull }]
config:
  redis: { mode: sentinel, master_name: m, addrs: ["s:26379"], password_file: /run/secrets/replygate/other }
  accounts_file: accounts.csv
  policy: { language: zh }
  shutdown: { grace: 30s }
accounts: |
  corp_id,name
  ww0123456789abcdef,Acme East
journal: { size: 8Gi, storageClass: fast }
networkPolicy: { bots: [{ namespaceSelector: { matchLabels: { team: bots } } }], callbacks: [] }
podAnnotations: { a: b }
nodeSelector: { disk: ssd }
tolerations: [{ key: k, operator: Exists }]
`)
	config, pod := o.config.Data["replygate.yaml"], o.set.Spec.Template
	for what, ok := range map[string]bool{
		"replicas":        *o.set.Spec.Replicas == 3,
		"image":           pod.Spec.Containers[0].Image == "registry.example.com/replygate:v9" && pod.Spec.ImagePullSecrets[0].Name == "pull",
		"config":          strings.Contains(config, "language: zh") && strings.Contains(config, "grace: 30s") && strings.Contains(config, "lame_duck: 5s"),
		"another file":    strings.Contains(config, "password_file: /run/secrets/replygate/other"),
		"accounts":        o.config.Data["accounts.csv"] == "corp_id,name\nww0123456789abcdef,Acme East\n",
		"journal":         *o.set.Spec.VolumeClaimTemplates[0].Spec.StorageClassName == "fast" && o.set.Spec.VolumeClaimTemplates[0].Spec.Resources.Requests.Storage().String() == "8Gi",
		"bots":            slices.ContainsFunc(o.network.Spec.Ingress, func(r networkingv1.NetworkPolicyIngressRule) bool { return r.From[0].NamespaceSelector != nil }),
		"nobody may call": len(o.network.Spec.Ingress) == 3,
		"scheduling":      pod.Annotations["a"] == "b" && pod.Spec.NodeSelector["disk"] == "ssd" && len(pod.Spec.Tolerations) == 1,
	} {
		if !ok {
			t.Errorf("not so: %s", what)
		}
	}
	o = install(t, "replicas: 1\nredisPassword: false\nnetworkPolicy: { enabled: false }\nconfig: { accounts: [{ corp_id: ww1 }] }\n")
	if o.network != nil || strings.Contains(o.config.Data["replygate.yaml"], "password_file") {
		t.Error("what is switched off is there")
	}
}

// Values that cannot work are refused, with what to write.
func TestMistakes(t *testing.T) {
	for values, want := range map[string]string{
		"config: { accounts: [{ corp_id: ww1 }] }":                            "replicas share a Redis",
		"config: { redis: { mode: embedded }, accounts: [{ corp_id: ww1 }] }": "replicas share a Redis",
		"config: { redis: { mode: single } }":                                 "name the accounts",
	} {
		if _, err := render(t, values); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", values, err, want)
		}
	}
}

// The gateway takes the configuration that the chart writes. REPLYGATE names its program.
func TestConfigurationIsValid(t *testing.T) {
	program := os.Getenv("REPLYGATE")
	if program == "" {
		t.Skip("REPLYGATE names no program: .ci/packages runs this test with one")
	}
	config := install(t, shared).config.Data["replygate.yaml"]
	dir := t.TempDir()
	for _, name := range []string{"read_key", "change_key", "metrics_key", "redis_password"} {
		if err := os.WriteFile(filepath.Join(dir, name), fmt.Appendf(nil, "a-secret-of-%s", name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "replygate.yaml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(config, "/run/secrets/replygate", dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), program, "check", "--strict", "-c", file).CombinedOutput(); err != nil {
		t.Errorf("%v: %s\n%s", err, out, config)
	}
}
