"""What Kith tells others, each in their own way: webhooks, MQTT, Frigate."""
