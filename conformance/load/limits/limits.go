// Package limits is what the limit programs share: a fiber server on TLS with
// the same settings as Marque's, so that only the work in the handler differs.
package limits

import (
	"crypto/tls"
	"flag"
	"fmt"
	"log"
	"net"

	"github.com/gofiber/fiber/v2"
)

// Flags declares the flags of every limit program and returns the function that
// serves: it prints "listening on ADDRESS" once and never returns.
func Flags() func(routes func(*fiber.App)) {
	cert := flag.String("cert", "", "PEM certificate")
	key := flag.String("key", "", "PEM private key")
	return func(routes func(*fiber.App)) {
		pair, err := tls.LoadX509KeyPair(*cert, *key)
		if err != nil {
			log.Fatal(err)
		}
		plain, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			log.Fatal(err)
		}
		app := fiber.New(fiber.Config{DisableStartupMessage: true, Immutable: true, CaseSensitive: true, StrictRouting: true, ReadBufferSize: 16 << 10})
		routes(app)
		fmt.Printf("listening on %s\n", plain.Addr())
		log.Fatal(app.Listener(tls.NewListener(plain, &tls.Config{
			Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"},
		})))
	}
}
