package wecom

// What the tests of the package see beyond its exported names.
var (
	EndpointsTable = endpointsTSV
	Rows           = rows
)

// AddField adds one row of recipients.tsv to an endpoint of its own.
func AddField(role Role, spec, value string) { new(fields).add(role, spec, value) }
