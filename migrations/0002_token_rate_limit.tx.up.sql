-- How many tokens a minute an account gets; 0 stands for "as many as each".
{{.AddColumn "service_accounts" "token_rate_limit" "BIGINT NOT NULL DEFAULT 0"}};
