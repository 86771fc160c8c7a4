"""CompreFace's recognition API, spoken by Kith: /api/v1/recognition and /api/v1/detection, with the key as `x-api-key`.

For its SDKs and for tools that speak it (Double Take, Viseron): they work by changing an address. Shapes, status codes
and error codes are those of its REST API description (github.com/exadel-inc/CompreFace, docs/Rest-API-description.md)
and of its controllers, 1.2. docs/compreface.md says what is not there, and what means something else.
"""
