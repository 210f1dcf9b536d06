package main

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"replygate/admin"
)

// webhooksCommand returns the commands about the webhooks and robots of a running gateway.
func webhooksCommand(s streams) *cobra.Command {
	return asGroup(&cobra.Command{
		Use:     "webhooks",
		Short:   "Test the webhooks and robots of a running gateway, and resend events",
		Example: "  replygate webhooks test crm",
	}, webhooksTestCommand(s), webhooksResendCommand(s))
}

func webhooksTestCommand(s streams) *cobra.Command {
	c := &cobra.Command{
		Use:   "test NAME",
		Short: "Send a test event to a webhook, or a test message to a robot",
		Long: `Sends one message now and tells what became of it. A webhook or robot that was disabled is
enabled again if it takes the message; what waited for it is sent then.`,
		Annotations:       arguments("NAME", "its name in events.webhooks or events.robots"),
		Example:           "  replygate webhooks test crm -c replygate.yaml",
		Args:              takes(1, 1),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	connect := clientFlags(c)
	asJSON := c.Flags().Bool("json", false, "print JSON")
	c.RunE = func(c *cobra.Command, given []string) error {
		return testWebhook(c.Context(), connect, given[0], *asJSON, s)
	}
	return c
}

func testWebhook(ctx context.Context, connect func() (client, error), name string, asJSON bool, s streams) error {
	c, err := connect()
	if err != nil {
		return err
	}
	var t admin.WebhookTest
	if err := c.post(ctx, "/v1/webhooks/"+url.PathEscape(name)+"/test", struct{}{}, &t); err != nil {
		return err
	}
	if asJSON {
		if err := printJSON(s.out, t); err != nil {
			return err
		}
	}
	if !t.OK {
		return fmt.Errorf("%s did not take the test: %s", name, printable(t.Error))
	}
	if asJSON {
		return nil
	}
	fmt.Fprintf(s.out, "%s took the test in %d ms\n", name, t.TookMS)
	if t.Enabled {
		fmt.Fprintln(s.out, "it was disabled and is enabled again: what waited for it is sent now")
	}
	return nil
}

func webhooksResendCommand(s streams) *cobra.Command {
	c := &cobra.Command{
		Use:   "resend NAME",
		Short: "Have a webhook get past events again",
		Long: `Has a webhook get the events again that were logged since an instant, as far as the log has them.
They have the ids that they had, so a receiver that remembers ids takes none twice.`,
		Annotations:       arguments("NAME", "its name in events.webhooks"),
		Example:           "  replygate webhooks resend crm --since 2026-11-29T21:00:00+08:00",
		Args:              takes(1, 1),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	connect := clientFlags(c)
	since := c.Flags().String("since", "", "resend what was logged since this `INSTANT` (required)")
	asJSON := c.Flags().Bool("json", false, "print JSON")
	withValues(c, "since")
	c.RunE = func(c *cobra.Command, given []string) error {
		at, err := instant("since", *since)
		switch {
		case err != nil:
			return err
		case at.IsZero():
			return fmt.Errorf("%w: --since is missing: give an instant like 2026-11-22T10:00:00+08:00", errUsage)
		}
		return resendWebhook(c.Context(), connect, given[0], at, *asJSON, s)
	}
	return c
}

func resendWebhook(ctx context.Context, connect func() (client, error), name string, since time.Time, asJSON bool, s streams) error {
	c, err := connect()
	if err != nil {
		return err
	}
	var sent admin.WebhookResend
	query := url.Values{"since": {since.Format(time.RFC3339Nano)}}
	if err := c.post(ctx, "/v1/webhooks/"+url.PathEscape(name)+"/resend?"+query.Encode(), struct{}{}, &sent); err != nil {
		return err
	}
	if asJSON {
		return printJSON(s.out, sent)
	}
	fmt.Fprintf(s.out, "%s gets %s again\n", name, count(sent.Queued, "event"))
	if sent.More {
		fmt.Fprintln(s.out, "more events are in the log than may wait at a time: resend again when these are sent")
	}
	return nil
}
