-- Who may do what with the tables of clients and of Django's own apps.
GRANT SELECT, INSERT, UPDATE (name, tier) ON clients_client TO app;
GRANT SELECT, INSERT, UPDATE (label, expires_at, revoked_at, last_used_at) ON clients_apikey TO app;
GRANT SELECT, INSERT ON clients_auditentry, clients_idempotencykey TO app;
GRANT SELECT, INSERT, UPDATE (count), DELETE ON clients_routeuse TO app;
GRANT SELECT ON clients_client, clients_auditentry, clients_idempotencykey, clients_routeuse TO readonly;
GRANT SELECT (
    key_id, client_id, label, scopes, networks, expires_at, revoked_at, last_used_at, replaces_id, created_at
) ON clients_apikey TO readonly;

GRANT SELECT ON django_migrations, django_content_type TO app, readonly;
GRANT SELECT, INSERT, UPDATE, DELETE ON
    auth_user, auth_group, auth_permission, auth_user_groups, auth_user_user_permissions, auth_group_permissions,
    django_session
TO app;
GRANT SELECT, INSERT ON django_admin_log TO app;

CREATE TRIGGER audit_entry_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON clients_auditentry
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
