-- The algorithm of a resource server's tokens until the key of the one that is
-- asked for has been published long enough; '' where there is none to wait for.
{{.AddColumn "resource_servers" "signing_alg_before" "TEXT NOT NULL DEFAULT ''"}};
