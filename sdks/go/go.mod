module github.com/marque-id/marque/sdks/go

go 1.26
