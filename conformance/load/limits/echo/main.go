// Command echo is the limit that introspection is measured against: the same
// HTTP stack and TLS, a form of the same size in, a body of the same size out,
// and no thought in between.
package main

import (
	"flag"

	"github.com/gofiber/fiber/v2"

	"github.com/marque-id/marque/conformance/load/limits"
)

func main() {
	serve := limits.Flags()
	size := flag.Int("size", 400, "bytes of the answer")
	flag.Parse()
	body := make([]byte, *size)
	for i := range body {
		body[i] = 'x'
	}
	serve(func(app *fiber.App) {
		app.Post("/echo", func(c *fiber.Ctx) error {
			c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSON)
			return c.Send(body)
		})
	})
}
