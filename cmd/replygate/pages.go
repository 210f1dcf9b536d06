package main

import (
	"context"
	"net/url"

	"replygate/admin"
)

// pageLimit is the number of rows that commands ask for at a time.
const pageLimit = "200"

// pages reads all pages of a list: take gets one at a time and returns its end.
func pages[T any](ctx context.Context, c client, path string, query url.Values, take func(T) admin.ListEnd) error {
	query.Set("limit", pageLimit)
	for {
		var page T
		if err := c.get(ctx, path, query, &page); err != nil {
			return err
		}
		end := take(page)
		if end.Next == "" {
			return nil
		}
		query.Set("cursor", end.Next)
	}
}

// filters is the query that has the flags which are set.
func filters(flags map[string]*string) url.Values {
	query := url.Values{}
	for name, value := range flags {
		if *value != "" {
			query.Set(name, *value)
		}
	}
	return query
}
